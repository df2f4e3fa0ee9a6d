"""Kloberdanz (2020), table 5.1: a new output layer on a frozen network.

export KERAS_REPROGRAM_DATA=... KERAS_HOME=...   # data sets; weights where there is no network
python examples/reproduce/kloberdanz_2020_table_5_1.py --minutes 20    # as many times as needed
python examples/reproduce/kloberdanz_2020_table_5_1.py --table
"""

from reproduction import reproduce

if __name__ == "__main__":
    reproduce("kloberdanz_2020_table_5_1")
