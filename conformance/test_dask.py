"""A dask scheduler in place of the Hub's own: started and stopped on request.

Source: measured on ipyparallel 9.2.0; no document describes it.
"""

from conformance.harness.case import needs, requirement
from conformance.harness.controller import Controller
from conformance.harness.expect import kind, ok, refusal

pytestmark = needs("dask")


@requirement("query.become-dask-answered")
def test_a_request_for_a_dask_scheduler_is_answered_with_its_address_or_refused(fresh_controller: Controller) -> None:
    arguments = {"host": "127.0.0.1", "port": 0, "dashboard": False}
    client = fresh_controller.client()
    reply = client.ask("become_dask_request", {"scheduler_args": arguments})
    reply.expect(ok("become_dask_reply", address=kind(str), port=kind(int)), *refusal("become_dask_reply"))


@requirement("query.stop-distributed-answered")
def test_a_request_to_stop_the_dask_scheduler_is_ok_when_none_runs(controller: Controller) -> None:
    controller.client().ask("stop_distributed_request", {}).expect(ok("stop_distributed_reply"))
