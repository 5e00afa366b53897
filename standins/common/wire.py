"""Protobuf messages as typed, frozen dataclasses.

A message class lists its fields once, with their numbers; `Schema` builds the protobuf
descriptors from that at import and does the encoding with the protobuf library. There
is no generated code to keep, and handlers work with plain typed values. A test compiles
the .proto file beside each schema with protoc and compares the two, field by field.
Covers what these services use: proto3 scalars, nested and repeated messages, maps of
strings to scalars.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

M = TypeVar("M", bound="Message")
D = TypeVar("D")

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS: dict[type, int] = {
    str: _Field.TYPE_STRING,
    bytes: _Field.TYPE_BYTES,
    bool: _Field.TYPE_BOOL,
    int: _Field.TYPE_INT32,
}


class Message:
    """Base of all messages; a subclass is a frozen dataclass made of `tag` fields."""


def tag(number: int, default: D, *, secret: bool = False) -> D:
    """A message field with its protobuf number; `secret` keeps the value out of the repr."""
    return dataclasses.field(default=default, repr=not secret, metadata={"number": number})


def tag_map(number: int, *, secret: bool = False) -> Any:
    """A map field, `Mapping[str, X]`, that is empty by default."""
    return dataclasses.field(default_factory=dict, repr=not secret, metadata={"number": number})


class Schema:
    """The messages of one protobuf package.

    A message must be listed after the messages that its fields hold.
    """

    def __init__(self, package: str, *messages: type[Message]) -> None:
        self.package = package
        self.file = descriptor_pb2.FileDescriptorProto(
            name=f"{package}.proto", package=package, syntax="proto3"
        )
        self._fields = {kind: _fields_of(kind) for kind in messages}
        for kind in messages:
            self.file.message_type.append(self._describe(kind))
        # A pool of its own: the process may know another file that defines this package.
        pool = descriptor_pool.DescriptorPool()
        pool.Add(self.file)
        self._classes = {
            kind: message_factory.GetMessageClass(
                pool.FindMessageTypeByName(f"{package}.{kind.__name__}")
            )
            for kind in messages
        }

    def encode(self, message: Message) -> bytes:
        """The protobuf encoding of `message`."""
        encoded: bytes = self._to_protobuf(message).SerializeToString()
        return encoded

    def decode(self, kind: type[M], data: bytes) -> M:
        """Read a message of class `kind`. Raises google.protobuf's DecodeError."""
        return self._from_protobuf(kind, self._classes[kind].FromString(data))

    def method(
        self, handler: Callable[[Any, Any], Awaitable[Message]], request: type[Message]
    ) -> grpc.RpcMethodHandler:
        """A unary server method that is called with a `request` and returns a message.

        Bytes that are no such message are answered as Go's servers do, and not logged with
        a trace of ours.
        """

        async def handle(data: bytes, context: Any) -> Message:
            try:
                message = self.decode(request, data)
            except DecodeError:
                message = None
            if message is None:
                await context.abort(
                    grpc.StatusCode.INTERNAL,
                    f"grpc: error unmarshalling request: not a {self.package}.{request.__name__}",
                )
            return await handler(message, context)

        return grpc.unary_unary_rpc_method_handler(handle, response_serializer=self.encode)

    def call(self, channel: Any, path: str, reply: type[M]) -> Any:
        """The client's side of the unary method at `path` ("/package.Service/Method")."""
        return channel.unary_unary(
            path,
            request_serializer=self.encode,
            response_deserializer=lambda data: self.decode(reply, data),
        )

    def _describe(self, kind: type[Message]) -> descriptor_pb2.DescriptorProto:
        described = descriptor_pb2.DescriptorProto(name=kind.__name__)
        for field in self._fields[kind]:
            entry = described.field.add(name=field.name, number=field.number)
            many = field.repeated or field.mapped
            entry.label = _Field.LABEL_REPEATED if many else _Field.LABEL_OPTIONAL
            if field.mapped:
                entry.type = _Field.TYPE_MESSAGE
                entry.type_name = f".{self.package}.{kind.__name__}.{field.entry}"
                described.nested_type.append(_entry_of(field))
            elif field.message:
                entry.type = _Field.TYPE_MESSAGE
                entry.type_name = f".{self.package}.{field.kind.__name__}"
            else:
                entry.type = _SCALARS[field.kind]
        return described

    def _to_protobuf(self, message: Message) -> Any:
        values: dict[str, Any] = {}
        for field in self._fields[type(message)]:
            value = getattr(message, field.name)
            if field.message and field.repeated:
                value = [self._to_protobuf(item) for item in value]
            elif field.message and value is not None:
                value = self._to_protobuf(value)
            values[field.name] = value
        return self._classes[type(message)](**values)

    def _from_protobuf(self, kind: type[M], found: Any) -> M:
        values: dict[str, Any] = {}
        for field in self._fields[kind]:
            value = getattr(found, field.name)
            if field.message and field.repeated:
                value = tuple(self._from_protobuf(field.kind, item) for item in value)
            elif field.mapped:
                value = dict(value)
            elif field.repeated:
                value = tuple(value)
            elif field.message:
                there = found.HasField(field.name)
                value = self._from_protobuf(field.kind, value) if there else None
            values[field.name] = value
        return kind(**values)


@dataclasses.dataclass(frozen=True)
class _FieldType:
    name: str
    number: int
    kind: type[Any]
    repeated: bool
    mapped: bool

    @property
    def message(self) -> bool:
        return issubclass(self.kind, Message)

    @property
    def entry(self) -> str:
        """The name that protoc gives to the message of a map's entries."""
        return "".join(word.capitalize() for word in self.name.split("_")) + "Entry"


def _entry_of(field: _FieldType) -> descriptor_pb2.DescriptorProto:
    """On the wire a map is a repeated message of a key and a value."""
    entry = descriptor_pb2.DescriptorProto(name=field.entry)
    entry.options.map_entry = True
    for number, name, kind in ((1, "key", str), (2, "value", field.kind)):
        entry.field.add(name=name, number=number, label=_Field.LABEL_OPTIONAL, type=_SCALARS[kind])
    return entry


def _fields_of(kind: type[Message]) -> tuple[_FieldType, ...]:
    hints = typing.get_type_hints(kind)
    found = []
    for field in dataclasses.fields(typing.cast(Any, kind)):
        hint = hints[field.name]
        repeated, mapped = (typing.get_origin(hint) is origin for origin in (tuple, Mapping))
        if mapped:
            hint = typing.get_args(hint)[1]
        elif repeated or isinstance(hint, types.UnionType):
            # tuple[X, ...] is repeated; X | None is a message that may be absent.
            hint = typing.get_args(hint)[0]
        found.append(_FieldType(field.name, field.metadata["number"], hint, repeated, mapped))
    return tuple(found)
