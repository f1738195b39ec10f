"""A small client of Kubernetes' Container Runtime Interface: calls over gRPC, streams over WebSocket.

Debian packages no crictl, and no Python code generated from the CRI's messages. The few
messages that are needed are encoded here, from a table of their fields.
"""

import json
import re
import struct

import grpc
import websocket

# Fields of runtime.v1: NAME=NUMBER and a type, text if there is none: i an integer, b a boolean,
# y bytes, v an integer wrapped in a message (so that 0 differs from unset), m a map of texts, or
# another message; * is repeated. Fields that no check needs are left out.
FIELDS = """
VersionRequest version=1
VersionResponse version=1 runtime_name=2 runtime_version=3 runtime_api_version=4
StatusRequest verbose=1b
StatusResponse status=1RuntimeStatus info=2m runtime_handlers=3RuntimeHandler*
RuntimeStatus conditions=1RuntimeCondition*
RuntimeCondition type=1 status=2b reason=3 message=4
RuntimeHandler name=1 features=2RuntimeHandlerFeatures
RuntimeHandlerFeatures recursive_read_only_mounts=1b user_namespaces=2b

DNSConfig servers=1* searches=2* options=3*
IDMapping host_id=1i container_id=2i length=3i
UserNamespace mode=1i uids=2IDMapping* gids=3IDMapping*
NamespaceOption network=1i pid=2i ipc=3i target_id=4 userns_options=5UserNamespace
SecurityProfile profile_type=1i localhost_ref=2
Capability add_capabilities=1* drop_capabilities=2*

PodSandboxMetadata name=1 uid=2 namespace=3 attempt=4i
LinuxSandboxSecurityContext namespace_options=1NamespaceOption run_as_user=3v readonly_rootfs=4b privileged=6b\
 run_as_group=8v seccomp=9SecurityProfile
LinuxPodSandboxConfig cgroup_parent=1 security_context=2LinuxSandboxSecurityContext sysctls=3m
PodSandboxConfig metadata=1PodSandboxMetadata hostname=2 log_directory=3 dns_config=4DNSConfig labels=6m\
 annotations=7m linux=8LinuxPodSandboxConfig
RunPodSandboxRequest config=1PodSandboxConfig runtime_handler=2
RunPodSandboxResponse pod_sandbox_id=1
StopPodSandboxRequest pod_sandbox_id=1
StopPodSandboxResponse
RemovePodSandboxRequest pod_sandbox_id=1
RemovePodSandboxResponse
PodSandboxStatusRequest pod_sandbox_id=1 verbose=2b
PodSandboxStatusResponse status=1PodSandboxStatus info=2m
PodSandboxNetworkStatus ip=1
PodSandboxStatus id=1 metadata=2PodSandboxMetadata state=3i created_at=4i network=5PodSandboxNetworkStatus\
 labels=7m annotations=8m runtime_handler=9
PodSandboxStateValue state=1i
PodSandboxFilter id=1 state=2PodSandboxStateValue label_selector=3m
ListPodSandboxRequest filter=1PodSandboxFilter
ListPodSandboxResponse items=1PodSandbox*
PodSandbox id=1 metadata=2PodSandboxMetadata state=3i labels=5m annotations=6m runtime_handler=7

ImageSpec image=1
KeyValue key=1 value=2
Mount container_path=1 host_path=2 readonly=3b propagation=5i uidMappings=6IDMapping* gidMappings=7IDMapping*
Device container_path=1 host_path=2 permissions=3
HugepageLimit page_size=1 limit=2i
LinuxContainerResources cpu_period=1i cpu_quota=2i cpu_shares=3i memory_limit_in_bytes=4i oom_score_adj=5i\
 cpuset_cpus=6 cpuset_mems=7 hugepage_limits=8HugepageLimit* unified=9m
LinuxContainerSecurityContext capabilities=1Capability privileged=2b namespace_options=3NamespaceOption\
 run_as_user=5v run_as_username=6 readonly_rootfs=7b supplemental_groups=8i* no_new_privs=11b run_as_group=12v\
 masked_paths=13* readonly_paths=14* seccomp=15SecurityProfile
LinuxContainerConfig resources=1LinuxContainerResources security_context=2LinuxContainerSecurityContext
ContainerMetadata name=1 attempt=2i
ContainerConfig metadata=1ContainerMetadata image=2ImageSpec command=3* args=4* working_dir=5 envs=6KeyValue*\
 mounts=7Mount* devices=8Device* labels=9m annotations=10m log_path=11 stdin=12b stdin_once=13b tty=14b\
 linux=15LinuxContainerConfig
CreateContainerRequest pod_sandbox_id=1 config=2ContainerConfig sandbox_config=3PodSandboxConfig
CreateContainerResponse container_id=1
StartContainerRequest container_id=1
StartContainerResponse
StopContainerRequest container_id=1 timeout=2i
StopContainerResponse
RemoveContainerRequest container_id=1
RemoveContainerResponse
ContainerStateValue state=1i
ContainerFilter id=1 state=2ContainerStateValue pod_sandbox_id=3 label_selector=4m
ListContainersRequest filter=1ContainerFilter
ListContainersResponse containers=1Container*
Container id=1 pod_sandbox_id=2 metadata=3ContainerMetadata state=6i labels=8m annotations=9m
ContainerStatusRequest container_id=1 verbose=2b
ContainerStatusResponse status=1ContainerStatus info=2m
ContainerStatus id=1 metadata=2ContainerMetadata state=3i created_at=4i started_at=5i finished_at=6i exit_code=7i\
 image=8ImageSpec reason=10 message=11 labels=12m annotations=13m mounts=14Mount* log_path=15
UpdateContainerResourcesRequest container_id=1 linux=2LinuxContainerResources
UpdateContainerResourcesResponse
ReopenContainerLogRequest container_id=1
ReopenContainerLogResponse

ExecSyncRequest container_id=1 cmd=2* timeout=3i
ExecSyncResponse stdout=1y stderr=2y exit_code=3i
ExecRequest container_id=1 cmd=2* tty=3b stdin=4b stdout=5b stderr=6b
ExecResponse url=1
AttachRequest container_id=1 stdin=2b tty=3b stdout=4b stderr=5b
AttachResponse url=1
PortForwardRequest pod_sandbox_id=1 port=2i*
PortForwardResponse url=1

CpuUsage timestamp=1i usage_core_nano_seconds=2v
MemoryUsage timestamp=1i working_set_bytes=2v available_bytes=3v usage_bytes=4v rss_bytes=5v
NetworkUsage default_interface=2NetworkInterfaceUsage
NetworkInterfaceUsage name=1 rx_bytes=2v tx_bytes=4v
ProcessUsage process_count=2v
FilesystemUsage used_bytes=3v inodes_used=4v
ContainerAttributes id=1 metadata=2ContainerMetadata labels=3m
ContainerStats attributes=1ContainerAttributes cpu=2CpuUsage memory=3MemoryUsage writable_layer=4FilesystemUsage
ContainerStatsRequest container_id=1
ContainerStatsResponse stats=1ContainerStats
ContainerStatsFilter id=1 pod_sandbox_id=2
ListContainerStatsRequest filter=1ContainerStatsFilter
ListContainerStatsResponse stats=1ContainerStats*
PodSandboxAttributes id=1
LinuxPodSandboxStats cpu=1CpuUsage memory=2MemoryUsage network=3NetworkUsage process=4ProcessUsage\
 containers=5ContainerStats*
PodSandboxStats attributes=1PodSandboxAttributes linux=2LinuxPodSandboxStats
PodSandboxStatsRequest pod_sandbox_id=1
PodSandboxStatsResponse stats=1PodSandboxStats

ListImagesRequest
ListImagesResponse images=1Image*
Image id=1 repo_tags=2* size=4i
"""


def parse_fields(text):
    """The table above as {message: {name: (number, type, repeated)}}."""
    messages = {}
    for line in filter(None, text.replace("\\\n", "").splitlines()):
        message, *fields = line.split()
        messages[message] = {}
        for field in fields:
            name, number, kind, repeated = re.fullmatch(r"(\w+)=(\d+)(\w*)(\*?)", field).groups()
            messages[message][name] = int(number), kind, bool(repeated)
    return messages


MESSAGES = parse_fields(FIELDS)

# ---- protobuf's wire format ----

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def tagged(number, data):
    return varint(number << 3 | BYTES) + varint(len(data)) + data


def encode_field(number, kind, value):
    if kind in ("i", "b"):
        return varint(number << 3 | VARINT) + varint(int(value))
    if kind == "v":
        return tagged(number, encode_field(1, "i", value))
    if kind == "m":
        entries = (tagged(1, key.encode()) + tagged(2, each.encode()) for key, each in value.items())
        return b"".join(tagged(number, entry) for entry in entries)
    if kind == "y":
        return tagged(number, value)
    return tagged(number, encode(kind, value) if kind else value.encode())


def encode(message, values):
    out = b""
    for name, value in values.items():
        number, kind, repeated = MESSAGES[message][name]
        for each in value if repeated else [value]:
            if repeated or value or kind == "v":
                out += encode_field(number, kind, each)
    return out


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return (value - (1 << 64) if value >> 63 else value), at


def read_fields(data):
    """Each field as (number, value): an integer or bytes."""
    at = 0
    while at < len(data):
        tag, at = read_varint(data, at)
        wire = tag & 7
        if wire == VARINT:
            value, at = read_varint(data, at)
        else:
            size = {FIXED64: 8, FIXED32: 4}.get(wire)
            if size is None:
                size, at = read_varint(data, at)
            value, at = data[at : at + size], at + size
        yield tag >> 3, value


def decode_value(kind, value):
    if kind == "b":
        return bool(value)
    if kind in ("i", "y"):
        return value
    if kind == "v":
        return dict(read_fields(value)).get(1, 0)
    return decode(kind, value) if kind else value.decode()


EMPTY = {"": "", "i": 0, "b": False, "y": b"", "v": None, "m": {}}


def decode(message, data):
    """A message as a dictionary; fields that are missing have their empty value, as proto3 has it."""
    fields = MESSAGES[message]
    names = {number: name for name, (number, _, _) in fields.items()}
    out = {name: [] for name, (_, _, repeated) in fields.items() if repeated}
    for number, value in read_fields(data):
        if number not in names:
            continue
        name = names[number]
        _, kind, repeated = fields[name]
        if kind == "m":
            entry = dict(read_fields(value))
            out[name] = {**out.get(name, {}), entry.get(1, b"").decode(): entry.get(2, b"").decode()}
        elif repeated:
            out[name].append(decode_value(kind, value))
        else:
            out[name] = decode_value(kind, value)
    for name, (_, kind, _) in fields.items():
        if name not in out:
            out[name] = EMPTY[kind] if kind in EMPTY else decode(kind, b"")
    return out


# ---- calls ----


class Error(Exception):
    """What the service answered instead: the name of a gRPC status code, and its message."""

    def __init__(self, call):
        super().__init__(f"{call.code().name}: {call.details()}")
        self.code = call.code().name


class Client:
    """CRI's services at a unix socket."""

    def __init__(self, socket):
        self.channel = grpc.insecure_channel(f"unix://{socket}", options=[
            ("grpc.max_receive_message_length", 32 << 20),
            # A restarted containerd is to be found at once.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 100),
        ])

    def __call__(self, method, patience=30, **request):
        """Calls METHOD, for at most `patience` seconds: a dictionary."""
        service = "ImageService" if "Image" in method else "RuntimeService"
        function = self.channel.unary_unary(
            f"/runtime.v1.{service}/{method}",
            request_serializer=lambda values: encode(f"{method}Request", values),
            response_deserializer=lambda data: decode(f"{method}Response", data),
        )
        try:
            return function(request, timeout=patience, wait_for_ready=True)
        except grpc.RpcError as error:
            raise Error(error) from None

    def close(self):
        self.channel.close()


# ---- streams ----

STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)


class Stream:
    """Exec, Attach or PortForward: several channels over one WebSocket, each frame begins with the channel's number."""

    def __init__(self, url):
        self.socket = websocket.create_connection(
            url.replace("http", "ws", 1), subprotocols=["v4.channel.k8s.io"], timeout=15
        )
        self.received = {}

    def send(self, data, channel=STDIN):
        self.socket.send_binary(bytes([channel]) + data)

    def resize(self, width, height):
        self.send(json.dumps({"Width": width, "Height": height}).encode(), RESIZE)

    def receive(self):
        """One frame; false once the server has closed the connection."""
        try:
            frame = self.socket.recv()
        except websocket.WebSocketConnectionClosedException:
            return False
        if not frame:
            return False
        self.received[frame[0]] = self.got(frame[0]) + frame[1:]
        return True

    def got(self, channel=STDOUT):
        return self.received.get(channel, b"")

    def wait_for(self, wanted, channel=STDOUT):
        """Until `wanted` was received; what was received."""
        while wanted not in self.got(channel) and self.receive():
            pass
        return self.got(channel)

    def finish(self):
        """Until the server closes: the final status, "Success" or what failed."""
        while self.receive():
            pass
        self.close()
        if not self.got(ERROR):
            return "none"
        status = json.loads(self.got(ERROR))
        causes = [cause["message"] for cause in status.get("details", {}).get("causes", [])]
        return " ".join([status["status"], *(causes or [status.get("message", "")])]).strip()

    def close(self):
        self.socket.close()


def forwarded(stream, data, wanted):
    """Sends DATA to the first port of a PortForward, which answers with `wanted`: (answer, error)."""
    port = struct.calcsize("<H")  # each channel begins with its port's number
    stream.send(data, channel=0)
    while wanted not in stream.got(0)[port:] and not stream.got(1)[port:] and stream.receive():
        pass
    stream.close()
    return stream.got(0)[port:], stream.got(1)[port:].decode()
