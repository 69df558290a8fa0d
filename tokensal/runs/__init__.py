"""Data sets: many examples explained one after another, into a folder, by any number of processes.

source.py       examples from files, data sets and iterables
task.py         what is done with each example, and the settings that decide every number
answering.py    answers that the examples of a part have generated together
together.py     gradients that they have taken together
explaining.py   an example becomes rows
rows.py         rows and what their columns hold; a row becomes an attribution again
parquet.py      rows as Parquet
folder.py       the folder: settings, parts, logs
card.py         its README
explainer.py    what explains records wherever an engine sends it
running.py      `run`: examples in, parts out
plan.py         `plan_run`: what a run would take
stored.py       `Run` and `load_run`: the rows of a folder
hub.py          a folder becomes a data set on the hub
"""
