"""Files as Jetsons show them, written from NVIDIA's and the kernel's documentation, not from a box."""

from __future__ import annotations

from pathlib import Path

RELEASES = {
    "7.2": "# R39 (release), REVISION: 2.0, GCID: 40000000, BOARD: generic, EABI: aarch64\n",
    "7.1": "# R38 (release), REVISION: 4.0, GCID: 39000000, BOARD: generic, EABI: aarch64\n",
    "6.2": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n",
}
ORIN_NANO = "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0"
AGX_ORIN = "NVIDIA Jetson AGX Orin Developer Kit\0"
THOR = "NVIDIA Jetson AGX Thor Developer Kit\0"
ORIN_NANO_MODES = """\
< PARAM TYPE=CLOCK NAME=GPU >
FREQ_TABLE /sys/class/devfreq/17000000.gpu/available_frequencies
MAX_FREQ /sys/class/devfreq/17000000.gpu/max_freq
MIN_FREQ /sys/class/devfreq/17000000.gpu/min_freq
###########################
< POWER_MODEL ID=0 NAME=15W >
CPU_ONLINE CORE_0 1
CPU_ONLINE CORE_1 1
CPU_ONLINE CORE_5 1
TPC_POWER_GATING TPC_PG_MASK 0
GPU MAX_FREQ 612000000
EMC MAX_FREQ 2133000000

< POWER_MODEL ID=1 NAME=25W >
CPU_ONLINE CORE_0 1
CPU_ONLINE CORE_1 1
CPU_ONLINE CORE_5 1
TPC_POWER_GATING TPC_PG_MASK 0
GPU MAX_FREQ 918000000
EMC MAX_FREQ 3199000000

< POWER_MODEL ID=2 NAME=MAXN_SUPER >
CPU_ONLINE CORE_0 1
CPU_ONLINE CORE_1 1
CPU_ONLINE CORE_5 1
TPC_POWER_GATING TPC_PG_MASK 0
GPU MAX_FREQ -1
EMC MAX_FREQ -1

< POWER_MODEL ID=3 NAME=7W >
CPU_ONLINE CORE_0 1
CPU_ONLINE CORE_1 1
CPU_ONLINE CORE_5 0
TPC_POWER_GATING TPC_PG_MASK 252
GPU MAX_FREQ 408000000
EMC MAX_FREQ 2133000000

< PM_CONFIG DEFAULT=1 >
"""
_GPU = "sys/class/devfreq/17000000.gpu"
_INA = "sys/class/hwmon/hwmon1"


def jetson(
    *,
    jetpack: str = "7.2",
    board: str = ORIN_NANO,
    mode: int = 1,
    gpu_hz: int = 918_000_000,
    amperes_milli: int = 1200,
    alarm: bool = False,
    events: int = 0,
) -> dict[str, str]:
    """A Jetson's files: path below the root → content."""
    return {
        "etc/nv_tegra_release": RELEASES[jetpack],
        "proc/device-tree/model": board,
        "proc/meminfo": "MemTotal: 7802000 kB\nMemAvailable: 6100000 kB\n",
        "etc/nvpmodel.conf": ORIN_NANO_MODES,
        "var/lib/nvpmodel/status": f"pmode:{mode:04d}\n",
        f"{_GPU}/max_freq": f"{gpu_hz}\n",
        f"{_GPU}/available_frequencies": "306000000 408000000 612000000 918000000 1020000000\n",
        f"{_INA}/name": "ina3221\n",
        f"{_INA}/in1_label": "VDD_IN\n",
        f"{_INA}/in1_input": "5000\n",
        f"{_INA}/curr1_input": f"{amperes_milli}\n",
        f"{_INA}/curr1_crit_alarm": f"{int(alarm)}\n",
        f"{_INA}/in2_label": "VDD_CPU_GPU_CV\n",
        f"{_INA}/in2_input": "4984\n",
        f"{_INA}/curr2_input": "300\n",
        f"{_INA}/in3_label": "NC\n",
        "sys/class/hwmon/hwmon3/name": "soctherm_oc\n",
        "sys/class/hwmon/hwmon3/oc1_event_cnt": f"{events}\n",
        "dev/v4l2-nvdec": "",
    }


def plant(root: Path, tree: dict[str, str]) -> Path:
    """Writes the files below a root, and gives it."""
    for name, content in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root
