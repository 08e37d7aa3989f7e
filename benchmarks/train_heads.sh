#!/usr/bin/env bash
# Makes the embedded heads again, in a folder: rendered clips, what the networks find in them, samples, trainings.
#   benchmarks/train_heads.sh FOLDER
# The heads lie in FOLDER/heads afterwards; tkm/weights/README.md has the digests of those in the package.
set -euo pipefail
folder=$1
mkdir -p "$folder/heads"
tkm synthesize "$folder" --split train --videos 205

clips() { for number in "$@"; do printf '%s\n' "$folder"/videos/"$(printf %06d "$number")"_*.mp4; done; }
# People a moment apart, for refinement's windows; people seconds apart, for the memory of tracks; and some clips whole.
clips $(seq 0 2 58) $(seq 80 2 204) > "$folder/consecutive.txt"
clips $(seq 1 2 59) $(seq 81 2 203) > "$folder/apart.txt"
clips $(seq 60 79) > "$folder/whole.txt"
plain=(--track-similarity oks --no-refine)
tkm annotate "$folder/consecutive.txt" --output "$folder/consecutive" --frames 20:33 "${plain[@]}"
tkm annotate "$folder/apart.txt" --output "$folder/apart" --every 5 "${plain[@]}"
tkm annotate "$folder/whole.txt" --output "$folder/whole" "${plain[@]}"

results=("$folder/consecutive" "$folder/apart" "$folder/whole")
learn=(--truth "$folder/annotations_coco" --output "$folder/trainings" --save "$folder/heads" --seed 0 --device cpu)
tkm train temporal "${results[@]}" "${learn[@]}"
tkm train temporal "${results[@]}" "${learn[@]}" --tau 0
tkm train body "${results[@]}" "${learn[@]}"
