"""Engines that deal examples out to many workers, and what they call; each needs its extra.

datatrove.py    steps of a pipeline: `pip install 'tokensal[datatrove]'`
ray.py          a class for `ray.data.Dataset.map_batches`: `pip install 'tokensal[ray]'`
"""
