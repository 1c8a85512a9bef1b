"""What the trainer does: pretrain, probe, train with labels, nearest neighbours, controls."""

from .controls import Controls as Controls
from .controls import compare_controls as compare_controls
from .knn import knn_accuracy as knn_accuracy
from .pretrain import PretrainOptions as PretrainOptions
from .pretrain import PretrainResult as PretrainResult
from .pretrain import pretrain as pretrain
from .probe import ProbeResult as ProbeResult
from .probe import linear_probe as linear_probe
from .supervised import SupervisedOptions as SupervisedOptions
from .supervised import SupervisedResult as SupervisedResult
from .supervised import train_supervised as train_supervised
