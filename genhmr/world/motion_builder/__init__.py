"""Builder of the shipped motion clips: public motion capture to the AMASS layout.

Needed only to rebuild ``datasets/open/motion``; nothing imports it at run time.
"""
