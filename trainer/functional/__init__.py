"""Pure steps and multi-step loops of the neurons."""

from .lif import lif as lif
from .lif import lif_step as lif_step
from .lif import membrane_potential as membrane_potential
from .lif import mixed_lif as mixed_lif
from .lif import path_b_step as path_b_step
from .parameters import LIFParameters as LIFParameters
from .spike import spike as spike
