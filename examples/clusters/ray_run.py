"""A data set is attributed by Ray Data, on this machine or on the cluster that RAY_ADDRESS names.

    python ray_run.py prompts.jsonl OUT/ --model HuggingFaceTB/SmolLM2-135M-Instruct --workers 8 --gpus 1

Of a worker that dies Ray starts another, and explains again what that one had not handed over. But a program that is
stopped begins again: what should go on where it stopped is `tokensal run`, or a pipeline of datatrove.
"""

import argparse

import ray

from tokensal.integrations.ray import AttributeBatches


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompts", help="a .jsonl file with a column 'prompt', or a folder of such files")
    parser.add_argument("out", help="the folder of the rows")
    parser.add_argument("--model", help="a hub id or a path; SmolLM2-135M-Instruct if left out")
    parser.add_argument("--methods", nargs="+", default=["lrp"])
    parser.add_argument("--workers", type=int, default=1, help="how many, each with a model of its own")
    parser.add_argument("--gpus", type=float, default=0, help="of each worker")
    parser.add_argument("--batch", type=int, default=16, help="how many examples a worker is handed at once")
    options = parser.parse_args()
    rows = ray.data.read_json(options.prompts, lines=True).map_batches(
        AttributeBatches,
        fn_constructor_kwargs={"model": options.model, "methods": options.methods},
        batch_format="pyarrow",
        batch_size=options.batch,
        num_cpus=0.5,  # reading and writing need some, too: workers that take all of them wait for ever
        num_gpus=options.gpus,
        compute=ray.data.ActorPoolStrategy(size=options.workers),
    )
    rows.write_parquet(options.out)


if __name__ == "__main__":
    main()
