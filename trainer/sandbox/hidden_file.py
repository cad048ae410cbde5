"""What a trial finds in place of a file that is hidden from it: a module that cannot be imported."""

raise ImportError("this module is hidden from trials: its text may be part of what they are scored on")
