"""A folder of .jsonl files is attributed by datatrove, on this machine.

    python datatrove_run.py PROMPTS/ OUT/ --model HuggingFaceTB/SmolLM2-135M-Instruct --tasks 8 --workers 2

SlurmPipelineExecutor, RayPipelineExecutor and JobsPipelineExecutor take the same pipeline. The same command goes on
with the tasks that are not finished: many small files and tasks lose little. Where a worker is killed, the others
finish, but the program then waits for the task that died: stop it, and start it again.
"""

import argparse

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.readers import JsonlReader

from tokensal.integrations.datatrove import AttributeDocuments, AttributionWriter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompts", help="a folder of .jsonl files with a column 'prompt'")
    parser.add_argument("out", help="the folder of the rows")
    parser.add_argument("--model", help="a hub id or a path; SmolLM2-135M-Instruct if left out")
    parser.add_argument("--methods", nargs="+", default=["lrp"])
    parser.add_argument("--tasks", type=int, default=8, help="into how many the work is divided")
    parser.add_argument("--workers", type=int, default=1, help="how many run at once, each with a model of its own")
    options = parser.parse_args()
    pipeline = [
        JsonlReader(options.prompts, text_key="prompt"),
        AttributeDocuments(options.model, methods=options.methods),
        AttributionWriter(f"{options.out}/rows"),
    ]
    LocalPipelineExecutor(
        pipeline, tasks=options.tasks, workers=options.workers, logging_dir=f"{options.out}/log"
    ).run()


if __name__ == "__main__":
    main()
