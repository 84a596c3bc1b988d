"""`cogreeld doctor`: looks at the settings and the machine, and says what is wrong and what to do about it.

Each check is a small function that returns findings; `plan` chooses those that matter for a process, `checks` runs
them at once. No check changes anything, but for one small object that is put into the bucket and removed again.
"""
