#!/usr/bin/env bash
# One process a GPU, on one machine or several: accelerate starts them, and each does its share of the parts.
#
#     PROCESSES=8 bash accelerate.sh prompts.jsonl OUT/ --methods lrp
#
# The processes do not talk to one another. But accelerate stops all of them when one dies; --max_restarts starts them
# again, and they go on with the parts that are missing. The same command does so, too.
#
# On several machines add, on each: --num_machines, --machine_rank, --main_process_ip and --main_process_port. They then
# wait for one another before they begin; an array of Slurm jobs, see slurm.sh, does not.
set -euo pipefail
source=$1 out=$2
shift 2
exec accelerate launch --multi_gpu --num_machines 1 --num_processes "${PROCESSES:-8}" --main_process_port 0 \
  --mixed_precision no --dynamo_backend no --max_restarts "${RESTARTS:-3}" \
  -m tokensal run "$source" -o "$out" "$@"
