"""Cai et al. (2024): a mask for each image.

export KERAS_REPROGRAM_DATA=... KERAS_HOME=...   # data sets; weights where there is no network
python examples/reproduce/smm_2024.py --minutes 20    # as many times as needed
python examples/reproduce/smm_2024.py --table
"""

from reproduction import reproduce

if __name__ == "__main__":
    reproduce("smm_2024")
