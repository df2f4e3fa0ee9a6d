"""What every service must do: faults, bills, keys, refusals. Used by the tests of vendors."""

import io
import pickle

import numpy as np
import pytest
from PIL import Image
from sign_service import SIGNS

from keras_reprogram import QueryLedger
from keras_reprogram.source.remote import SourceRefusedError
from keras_reprogram.testing import HostedModel

KEY = "planted-key-8461-of-a-service"
SHAPE = (32, 32, 3)


def images_of(count, seed=0, side=32):
    drawn = np.random.default_rng(seed).integers(0, 256, (count, side, side, 3))
    return drawn.astype(np.float32)


def png(image):
    stream = io.BytesIO()
    Image.fromarray(image.astype(np.uint8)).save(stream, "png")
    return stream.getvalue()


def signs(images):
    return np.asarray(SIGNS(images))


def hosted_signs(class_names):
    """The traffic-sign network behind a service; with fewer names, its first scores only."""
    return HostedModel(lambda images: signs(images)[:, : len(class_names)], SHAPE, class_names)


def check_what_may_pass(tmp_path, make_fake, source_of, fault, answers=None):
    """A fault is repeated, counted as free or sent, and the answers are the model's."""
    with make_fake(faults=[fault, fault]) as fake, QueryLedger(tmp_path / "l") as ledger:
        source = source_of(fake, ledger=ledger, concurrency=1)
        images = images_of(3, side=source.source_shape[0])
        expected = (answers or fake.hosted.model)(images)
        np.testing.assert_allclose(source(images), expected, atol=1e-6)
        counts = ledger.counts()
        throttled = fault == 429 or isinstance(fault, tuple)
        free, sent = (2, 0) if throttled else (0, 0) if fault == "drip" else (0, 2)
        assert counts == {"billed": 3, "free": free, "sent": sent}
        assert fake.requests == sum(counts.values())
        assert ledger.spent >= fake.bill
        again = source_of(fake, ledger=ledger)
        again(images)
        assert again.queries_used == 0


def check_malformed(tmp_path, make_fake, source_of, fault, shown):
    """A malformed answer is billed, asked once more, and shown."""
    with make_fake(faults=[fault] * 3) as fake:
        with QueryLedger(tmp_path / "l") as ledger:
            source = source_of(fake, ledger=ledger)
            images = images_of(1, side=source.source_shape[0])
            with pytest.raises(ValueError, match="Received") as caught:
                source(images)
            assert ledger.spent == fake.bill == 2
            assert shown in str(caught.value)
        with QueryLedger(tmp_path / "m") as ledger:
            source_of(fake, ledger=ledger)(images)
            assert ledger.counts() == {"sent": 0, "billed": 2, "free": 0}


def refusal(source, tmp_path, images=None):
    """What a source is refused with, once and for nothing."""
    with QueryLedger(tmp_path / "refused") as ledger:
        source.ledger = ledger
        with pytest.raises(SourceRefusedError) as caught:
            source(images_of(1, side=source.source_shape[0]) if images is None else images)
        assert (ledger.spent, source.queries_used) == (0, 1)
    return str(caught.value)


def check_key_is_nowhere(tmp_path, source, keys, caplog, capfd, level=0):
    """No text, log or pickle that a refusal leaves holds a key; returns what was said."""
    caplog.set_level(level)
    said = refusal(source, tmp_path)
    out, err = capfd.readouterr()
    texts = said + out + err + caplog.text + repr(vars(source)) + repr(source.describe())
    for key in keys:
        assert key not in texts
        assert key.encode() not in pickle.dumps(source.client)
        left = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert left and not any(key.encode() in path.read_bytes() for path in left)
    return said


def check_copy_asks_for_itself(source):
    """A pickled client answers like the source, from the same endpoint."""
    image = images_of(1, side=source.source_shape[0])
    expected = np.asarray(source(image))
    client = pickle.loads(pickle.dumps(source.client))
    (endpoint,) = source.dispatcher.endpoints.names
    rows = source.read(client.send([source.payload(image[0])], endpoint))
    np.testing.assert_allclose(rows, expected, atol=1e-6)
