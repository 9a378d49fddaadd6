"""What the benchmark measures, each library as its users call it and in a process of its own.

A module here has two functions. `prepare(threads)` limits the library's threads, switches denormal
numbers off where there is a switch, and says whether they are: True, False, or None where that was
not found out. `build(option, problem, arrays)` gives the calls to be timed, by name; each returns
only when its arrays are there.
"""
