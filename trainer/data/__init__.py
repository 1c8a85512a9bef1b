"""Images by name: numpy only, so that a lowered network runs on data without torch."""

from .dataset import Dataset as Dataset
from .readers import READERS as READERS
from .readers import load as load
from .readers import load_splits as load_splits
from .readers import load_training as load_training
from .readers import packaged as packaged
from .readers import undivided as undivided
