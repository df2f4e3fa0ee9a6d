"""Jin et al. (2025): a low-rank prompt over the whole image, and a new head.

export KERAS_REPROGRAM_DATA=... KERAS_HOME=...   # data sets; weights where there is no network
python examples/reproduce/lor_vp_2025.py --minutes 20    # as many times as needed
python examples/reproduce/lor_vp_2025.py --table
"""

from reproduction import reproduce

if __name__ == "__main__":
    reproduce("lor_vp_2025")
