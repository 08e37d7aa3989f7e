"""What training is made of: schedules, the order of samples, augmentation, targets and losses, curves. Pure functions."""
