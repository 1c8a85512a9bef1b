"""Architectures by name."""

from .classifier import Classifier as Classifier
from .own import OwnModel as OwnModel
from .registry import MODELS as MODELS
from .registry import create as create
from .registry import create_for as create_for
from .spiking_resnet import ResNetOptions as ResNetOptions
from .spiking_resnet import SpikingResNet as SpikingResNet
