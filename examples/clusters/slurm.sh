#!/usr/bin/env bash
# An array of Slurm jobs, one a GPU, on as many machines as there are; the folder is one that all of them share.
#
#     sbatch slurm.sh prompts.jsonl OUT/ --methods lrp
#
# Each job does its share of the parts, and none waits for another. Submit the same array again to go on with what is
# missing; more jobs or fewer do as well. The numbers of the array should follow one another, such as 0-7 or 1-8.
#SBATCH --job-name=tokensal
#SBATCH --array=0-7
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=4
#SBATCH --requeue
set -euo pipefail
source=$1 out=$2
shift 2
shard=$((SLURM_ARRAY_TASK_ID - SLURM_ARRAY_TASK_MIN))/$SLURM_ARRAY_TASK_COUNT
exec tokensal run "$source" -o "$out" --shard "$shard" "$@"
