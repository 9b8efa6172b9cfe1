"""The proxy of the tests: a fault that does not happen would make every test of it pass."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from fault_proxy import HTML, Fault, FaultProxy


@pytest.fixture
def asked():
    return []


@pytest.fixture
def proxy(asked):
    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            asked.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.send_header("content-length", "10")
            self.end_headers()
            self.wfile.write(b"0123456789")

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with FaultProxy(server.server_port) as proxy:
        yield proxy
    server.shutdown()


def post(proxy, path="/runs"):
    return httpx.post(proxy.url + path, content=b"x" * 5, timeout=60, trust_env=False)


def test_without_a_fault_everything_passes_and_is_counted(proxy, asked):
    assert [post(proxy).text, post(proxy, "/b?c=d").text] == ["0123456789"] * 2
    assert asked == [("/api/runs", b"xxxxx"), ("/api/b?c=d", b"xxxxx")]
    assert [(call.method, call.path, call.status) for call in proxy.calls] == [
        ("POST", "/api/runs", 200),
        ("POST", "/api/b?c=d", 200),
    ]


def test_a_status_takes_the_place_of_an_answer_as_often_as_it_says(proxy, asked):
    proxy.add(Fault(status=503, path="runs$", times=1, headers={"retry-after": "7"}))
    refused = post(proxy)

    assert (refused.status_code, refused.headers["retry-after"], asked) == (503, "7", [])
    assert post(proxy).status_code == 200


def test_a_request_may_be_done_although_its_answer_is_lost(proxy, asked):
    proxy.add(Fault(status=500, done=True, times=1))

    assert post(proxy).status_code == 500
    assert len(asked) == 1


def test_a_page_that_is_not_the_apis(proxy):
    proxy.add(Fault(status=200, body=HTML, headers={"content-type": "text/html"}))

    assert post(proxy).content == HTML


@pytest.mark.parametrize("fault", [{"drop": True}, {"drop": True, "done": True}, {"cut": True}])
def test_a_connection_that_breaks(proxy, asked, fault):
    proxy.add(Fault(**fault, times=1))

    with pytest.raises(httpx.RemoteProtocolError):
        post(proxy)
    assert len(asked) == (fault != {"drop": True})
    assert post(proxy).text == "0123456789"


def test_nothing_passes_while_it_is_cut_off(proxy, asked):
    with httpx.Client(trust_env=False) as client:
        assert client.post(proxy.url, content=b"x").status_code == 200
        proxy.cut_off()
        for _ in range(2):
            with pytest.raises(httpx.TransportError):
                client.post(proxy.url, content=b"x")
        proxy.mend()
        assert client.post(proxy.url, content=b"x").status_code == 200
    assert len(asked) == 2


def test_a_delayed_answer_comes_late(proxy):
    proxy.add(Fault(delay=3, times=1))

    with pytest.raises(httpx.ReadTimeout):
        httpx.post(proxy.url, content=b"x", timeout=0.5, trust_env=False)
    assert post(proxy).status_code == 200
