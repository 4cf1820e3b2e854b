"""Kernels: their connection file, and the sockets that they bind.

Source: jupyter_client messaging.rst, "Introduction", and kernels.rst, "Connection files"; measured on ipykernel 7.4.0.
"""

from conformance.harness.case import connection_file, requirement
from conformance.harness.expect import ok
from conformance.harness.kernel import KernelUnderTest
from conformance.harness.verdict import violate


@requirement("kernel.binds-sockets", "kernel.connection-file-keys", "connection.socket-names-are-aliases")
def test_all_five_sockets_are_where_the_file_says(kernel: KernelUnderTest) -> None:
    frontend = kernel.reader()
    frontend.subscribe()
    frontend.ask("kernel_info_request").expect(ok("kernel_info_reply"))
    frontend.ask("kernel_info_request", channel="kernel-control").expect(ok("kernel_info_reply"))
    if "stdin" in kernel.features:
        request = frontend.execute(kernel.sample("read_line", text="who"), content={"allow_stdin": True})
        frontend.give(frontend.prompt(request), "me")
        frontend.reply(request).expect(ok("execute_reply"))
    frontend.ping(b"alive", requirement="kernel.binds-sockets")


@connection_file(of_tomorrow="something new")
@requirement("kernel.connection-file-extra-keys")
def test_a_file_with_a_key_of_tomorrow_is_read_and_kept(fresh_kernel: KernelUnderTest) -> None:
    fresh_kernel.expect_usable()
    if b"of_tomorrow" not in fresh_kernel.instance.path.read_bytes():
        violate("the key has gone from the file", "a file as it was")


@connection_file(transport="ipc")
@requirement("kernel.address-form")
def test_addresses_of_ipc_have_a_dash_before_the_port(fresh_kernel: KernelUnderTest) -> None:
    fresh_kernel.expect_usable()


@requirement("kernel.address-form")
def test_addresses_of_tcp_have_a_colon_before_the_port(kernel: KernelUnderTest) -> None:
    kernel.expect_usable()


@connection_file(control_port=0)
@requirement("kernel.port-zero-filled-in")
def test_a_port_that_the_file_leaves_open_is_chosen_and_written_back(new_kernel: KernelUnderTest) -> None:
    new_kernel.expect_port("control_port")
    frontend = new_kernel.frontend()
    new_kernel.until_answered(frontend.send("kernel_info_request"))
    frontend.ask("kernel_info_request", channel="kernel-control").expect(ok("kernel_info_reply"))


@requirement("kernel.connection-file-kept")
def test_a_file_that_was_given_is_left_behind(fresh_kernel: KernelUnderTest) -> None:
    frontend = fresh_kernel.frontend()
    frontend.ask("shutdown_request", {"restart": False}, channel="kernel-control").expect(ok("shutdown_reply"))
    fresh_kernel.expect_end()
    if not fresh_kernel.instance.path.exists():
        violate("the file has gone with the kernel", "a file that outlives it")


@requirement("kernel.socket-handover")
def test_a_frontend_that_comes_back_is_answered_where_it_is(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    frontend.ask("kernel_info_request").expect(ok("kernel_info_reply"))
    frontend.reconnect("kernel-shell")
    frontend.ask("kernel_info_request").expect(ok("kernel_info_reply"))


@requirement("kernel.versions-may-differ")
def test_versions_are_told_and_need_not_agree(kernel: KernelUnderTest) -> None:
    reply = kernel.frontend().ask("kernel_info_request").expect(ok("kernel_info_reply"))
    versions = {"in the header": reply.message.header.get("version"), "told": reply.content.get("protocol_version")}
    for where, version in versions.items():
        if not str(version).startswith("5."):
            violate(f"version {version!r} {where}", "5.X", evidence=(reply.observation.seq,))
