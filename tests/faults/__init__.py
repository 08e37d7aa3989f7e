"""Seeded faults: a run is disturbed, or what it left is damaged, and one clean run afterwards must put all right."""
