"""MediaPipe's own metadata tools read a file, and add to it; prints what they read as JSON."""

import json
import sys
from pathlib import Path

from mediapipe.tasks.python.metadata import metadata
from mediapipe.tasks.python.metadata.metadata_writers import image_classifier, metadata_writer

model_file, written_file = sys.argv[1:]
content = bytearray(Path(model_file).read_bytes())
read = metadata.MetadataDisplayer.with_model_buffer(content)
said = [read.get_metadata_json()]
# What the tools themselves say is the oldest parser that understands it.
again = metadata.MetadataPopulator.with_model_buffer(content)
again.load_metadata_buffer(bytearray(read.get_metadata_buffer()))
again.populate()
populated = metadata.MetadataDisplayer.with_model_buffer(again.get_model_buffer())
said.append(populated.get_metadata_json())
print(json.dumps([json.loads(text) for text in said]))

labels = metadata_writer.Labels().add([f"class {number}" for number in range(10)])
writer = image_classifier.MetadataWriter.create(content, [0.0], [1.0], labels)
Path(written_file).write_bytes(writer.populate()[0])
