"""Pair losses between two embeddings, and the temporal losses that choose the pairs."""

from .pair import PAIR_LOSSES as PAIR_LOSSES
from .pair import PairLoss as PairLoss
from .pair import barlow_twins as barlow_twins
from .pair import nt_xent as nt_xent
from .pair import pair_loss as pair_loss
from .pair import vicreg as vicreg
from .temporal import LOSSES as LOSSES
from .temporal import btl as btl
from .temporal import ctl as ctl
from .temporal import non_cross as non_cross
from .temporal import temporal_loss as temporal_loss
