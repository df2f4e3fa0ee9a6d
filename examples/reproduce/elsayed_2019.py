"""Elsayed, Goodfellow, Sohl-Dickstein (2019): counting squares, MNIST and CIFAR-10.

export KERAS_REPROGRAM_DATA=... KERAS_HOME=...   # data sets; weights where there is no network
python examples/reproduce/elsayed_2019.py --minutes 20    # as many times as needed
python examples/reproduce/elsayed_2019.py --table
"""

from reproduction import reproduce

if __name__ == "__main__":
    reproduce("elsayed_2019")
