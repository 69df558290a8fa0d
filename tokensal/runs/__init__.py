"""Data sets: many examples explained one after another, into a folder, by any number of processes.

source.py       examples from files, data sets and iterables
task.py         what is done with each example, and the settings that decide every number
explaining.py   an example becomes rows
rows.py         rows and their schema; a row becomes an attribution again
folder.py       the folder: settings, parts, logs
running.py      `run`: examples in, parts out
stored.py       `Run` and `load_run`: the rows of a folder
"""
