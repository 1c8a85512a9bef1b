"""The names that a target file may use: limits, what it supports, cost constants, mappings."""

from __future__ import annotations

from ..export.ir import KINDS

MAPPINGS = {
    "cores": "layers split over equal cores (Loihi, SpiNNaker)",
    "crossbar": "binary or weighted crossbars of axons and neurons (TrueNorth, ODIN)",
    "pipeline": "one layer a core, cores of different memories (Speck)",
    "population": "one hidden population and a readout (Xylo)",
    "nodes": "frame-based convolution nodes (Akida)",
    "none": "no chip: nothing is placed",
}

LIMITS = {
    # number formats, checked on every node
    "weight_bits": "signed width of a weight",
    "state_bits": "signed width of v and u",
    "threshold_bits": "unsigned width of v_threshold / 2^state_shift",
    "decay_bits": "unsigned width of dv, and of du - 1",
    "leak_bits": "unsigned width of leak_subtract",
    "scale_bits": "signed width of the factor of a Scale",
    "spikes_per_step": "spikes of one neuron in one step",
    "output_spikes_per_step": "spikes of one readout neuron in one step",
    "input_spikes_per_step": "events of one input channel in one step",
    "delay_steps": "steps of one Delay",
    "queue_events": "events that wait at once, as lowering for the chip found on samples",
    # cores
    "cores": "cores (processing elements) of one chip",
    "cores_per_tile": "cores of one tile, which share a router",
    "mesh_columns": "tiles of the mesh, east-west",
    "mesh_rows": "tiles of the mesh, north-south",
    "neurons_per_core": "neurons of one core",
    "input_axons_per_core": "distinct sources of spikes of one core",
    "output_axons_per_core": "pairs of a neuron and a destination core",
    "synapse_words_per_core": "synaptic memory in words of 64 bits",
    "synapse_bytes_per_core": "synaptic memory in bytes",
    "thresholds_per_core": "distinct thresholds",
    "neuron_configs_per_core": "distinct settings of a neuron but its threshold",
    "synapses": "synapses of the chip",
    # crossbar
    "axons_per_core": "rows of a crossbar",
    "weight_values_per_neuron": "distinct weights of one neuron, chosen by the axon's type",
    "axon_targets_per_neuron": "axons that one neuron reaches",
    # pipeline
    "kernel_words": "kernel memory: c * 2^(ceil(log2(kx * ky)) + ceil(log2(f)))",
    "neuron_words": "neuron memory: f * fx * fy",
    "biases_per_core": "biases of one core",
    "input_size": "height and width of the network's input",
    "map_size": "height and width of an output map",
    "channels": "channels of a map",
    "kernel_size": "height and width of a kernel",
    "padding": "padding of a convolution",
    "destinations": "layers that one layer sends to",
    # population
    "inputs": "input channels",
    "hidden_neurons": "neurons between input and readout",
    "outputs": "readout neurons",
    "fan_out": "targets of one hidden neuron",
    "average_fan_out": "targets of a hidden neuron, on average",
    "input_reach": "hidden neurons reached from the input",
    "output_reach": "hidden neurons that reach the readout",
    # nodes
    "input_bytes_per_core": "input buffer of one node",
    "weight_bytes_per_core": "weight memory of one node",
}

SUPPORTS: dict[str, tuple[str, ...]] = {
    "nodes": tuple(KINDS),
    "resets": ("hard", "soft", "soft_after_decay"),
    "compares": (">", ">="),
    "inputs": ("direct", "rate", "latency", "frames", "spikes"),
    "leaks": ("none", "decay", "shift", "subtract"),
    "memory": ("kept", "none"),
    "timing": ("step", "event"),
    "biases": ("none", "constant"),
    "readouts": ("none", "integrate", "leaky", "spike_count"),
    "budgets": tuple(LIMITS),
    "neuron_options": ("refractory", "v_min", "v_init"),
    "strides": (),
    "pools": (),
}
"""What a chip may restrict, and the words for it. leaks: `shift` is a decay of 2^-k."""

COSTS: dict[str, dict[str, str]] = {
    "operations": {
        "mac_pj": "a multiply-accumulate",
        "ac_pj": "an accumulation",
        "weight_read_pj": "reading one weight",
        "state_read_pj": "reading one membrane potential or activation",
        "state_write_pj": "writing one",
        "dram_read_pj": "fetching one weight from off-chip memory",
    },
    "events": {
        "synop_pj": "a synaptic operation",
        "neuron_access_pj": "a mapped neuron and step",
        "neuron_update_pj": "a neuron whose state is not at rest, and step",
        "neuron_active_pj": "an update of a neuron that fires",
        "neuron_inactive_pj": "an update of a neuron that does not fire",
        "spike_pj": "a spike, whatever it reaches",
        "packet_pj": "a spike and destination core",
        "hop_ew_pj": "a packet and tile, east-west",
        "hop_ns_pj": "a packet and tile, north-south",
        "synop_ns": "a synaptic operation",
        "neuron_access_ns": "a mapped neuron and step",
        "neuron_update_ns": "a neuron whose state is not at rest, and step",
        "neuron_active_ns": "an update of a neuron that fires",
        "neuron_inactive_ns": "an update of a neuron that does not fire",
        "spike_ns": "a spike",
        "packet_out_ns": "a packet that leaves a core",
        "packet_in_ns": "a packet that enters a core",
        "hop_ew_ns": "a packet and tile, east-west",
        "hop_ns_ns": "a packet and tile, north-south",
        "barrier_min_ns": "the barrier of a step on 1 tile",
        "barrier_max_ns": "the barrier of a step on 32 tiles",
        "barrier_1_tile_ns": "the barrier of a step on 1 tile",
        "barrier_2_tiles_ns": "the barrier of a step on 2 tiles",
        "barrier_4_tiles_ns": "the barrier of a step on 4 tiles",
        "barrier_29_tiles_ns": "the barrier of a step on 29 tiles",
        "static_mw": "power of an idle chip",
        "clock_uw_per_mhz": "power of the clock",
    },
}
"""The constants of each cost model."""
