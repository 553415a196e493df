"""Sessions end to end, through the real server, with the `pysock` program as the other client."""
import unittest
class EndToEnd(unittest.TestCase):
    pass
