"""Lets the tests import tests/support wherever pytest is started."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
