"""Chen et al. (2023): a padded prompt with iterative label mapping.

export KERAS_REPROGRAM_DATA=... KERAS_HOME=...   # data sets; weights where there is no network
python examples/reproduce/ilm_vp_2023.py --minutes 20    # as many times as needed
python examples/reproduce/ilm_vp_2023.py --table
"""

from reproduction import reproduce

if __name__ == "__main__":
    reproduce("ilm_vp_2023")
