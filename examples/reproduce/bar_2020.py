"""Tsai, Chen, Ho (2020): skin lesions, autism and retinopathy.

export KERAS_REPROGRAM_DATA=... KERAS_HOME=...   # data sets; weights where there is no network
python examples/reproduce/bar_2020.py --minutes 20    # as many times as needed
python examples/reproduce/bar_2020.py --table
"""

from reproduction import reproduce

if __name__ == "__main__":
    reproduce("bar_2020")
