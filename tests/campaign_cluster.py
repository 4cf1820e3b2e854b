"""A small cluster for campaigns, while its standard input is held: `python campaign_cluster.py dask|ipyparallel`.

It writes one line, what stands behind the colon of `--executor`, and ends when its standard input is closed.
"""

import sys
import tempfile
from pathlib import Path


def dask() -> None:
    """Two workers, each a process."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()


def ipyparallel() -> None:
    """A controller and two engines, in a folder of their own."""
    import ipyparallel

    with tempfile.TemporaryDirectory() as folder:
        cluster = ipyparallel.Cluster(n=2, profile_dir=folder, controller_ip="127.0.0.1", log_level=40)
        with cluster as client:
            client.wait_for_engines(2, timeout=60)
            (file,) = Path(folder, "security").glob("ipcontroller-*-client.json")
            print(file, flush=True)
            sys.stdin.read()


if __name__ == "__main__":
    {"dask": dask, "ipyparallel": ipyparallel}[sys.argv[1]]()
