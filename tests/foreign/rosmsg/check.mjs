// SPDX-License-Identifier: Apache-2.0
// Reads what write_messages wrote with Foxglove's packages: definitions are those of ROS 2 Jazzy, values are those that were
// written, and written again the bytes are the same.
import { createInterface } from "node:readline";
import { isDeepStrictEqual } from "node:util";
import { parse } from "@foxglove/rosmsg";
import { ros2jazzy } from "@foxglove/rosmsg-msgs-common";
import { MessageReader, MessageWriter } from "@foxglove/rosmsg2-serialization";

const MOST_LINES = 20;
let problems = 0;
const counts = new Map();

function complain(text) {
  problems += 1;
  if (problems <= MOST_LINES) console.log(text);
}

const short = (name) => name.replace("/msg/", "/");

// The same, whatever kind of list it is, and floats as narrow as a float.
function equal(a, b) {
  if (typeof a === "number" && typeof b === "number") {
    return Object.is(a, b) || a === b || Math.fround(a) === Math.fround(b);
  }
  if (typeof a === "object" && typeof b === "object") {
    const keys = Object.keys(a);
    return keys.length === Object.keys(b).length && keys.every((key) => key in b && equal(a[key], b[key]));
  }
  return a === b;
}

// Ready messages whose fields ROS has in another shape.
const inRos = {
  "sensor_msgs/msg/JointState": ({ header, tail }) => ({
    header,
    name: tail.map((joint) => joint.name),
    position: tail.map((joint) => joint.position),
    velocity: tail.map((joint) => joint.velocity),
    effort: tail.map((joint) => joint.effort),
  }),
  "sensor_msgs/msg/LaserScan": ({ beams, tail, ...rest }) => ({
    ...rest,
    ranges: tail.slice(0, beams),
    intensities: tail.slice(beams),
  }),
  "sensor_msgs/msg/Image": ({ tail, ...rest }) => ({ ...rest, data: tail }),
  "sensor_msgs/msg/PointCloud2": (values) => {
    if (!("tail" in values)) return values; // the one with fields of its own
    const { tail, is_dense, ...rest } = values;
    const floats = new Float32Array(tail.flatMap((point) => [point.x, point.y, point.z, point.intensity]));
    return {
      ...rest,
      fields: ["x", "y", "z", "intensity"].map((name, i) => ({ name, offset: 4 * i, datatype: 7, count: 1 })),
      is_bigendian: false,
      row_step: 16 * rest.width,
      data: new Uint8Array(floats.buffer),
      is_dense: is_dense === 1,
    };
  },
};

function checkDefinition(type, definitions) {
  for (const [i, definition] of definitions.entries()) {
    const name = i === 0 ? short(type) : short(definition.name);
    if (name === "builtin_interfaces/Time") continue; // built in there
    const official = ros2jazzy[name];
    if (official === undefined) {
      complain(`${type}: ROS has no ${name}`);
    } else if (!isDeepStrictEqual(clean(definition.definitions), clean(official.definitions))) {
      complain(`${type}: ${name} is another one\n${JSON.stringify(definition.definitions)}\n${JSON.stringify(official.definitions)}`);
    }
  }
}
// Names of types in one spelling, nothing that is undefined.
function clean(fields) {
  return JSON.parse(JSON.stringify(fields), (key, value) => {
    if (key === "valueText") return undefined; // "0" or "0 ", as the file has it
    return key === "type" ? short(value) : value;
  });
}

const readers = new Map();
for await (const line of createInterface({ input: process.stdin })) {
  const { type, definition, cdr, values } = JSON.parse(line);
  if (!readers.has(type + definition)) {
    const definitions = parse(definition, { ros2: true });
    checkDefinition(type, definitions);
    readers.set(type + definition, { reader: new MessageReader(definitions), writer: new MessageWriter(definitions) });
  }
  const { reader, writer } = readers.get(type + definition);
  counts.set(type, (counts.get(type) ?? 0) + 1);
  const bytes = Buffer.from(cdr, "hex");
  try {
    const read = reader.readMessage(bytes);
    const expected = (inRos[type] ?? ((same) => same))(values);
    if (!equal(read, expected)) {
      complain(`${type}: read ${JSON.stringify(read)}\n  instead of ${JSON.stringify(expected)}`);
    }
    if (!bytes.equals(writer.writeMessage(read))) complain(`${type}: written again, it has other bytes`);
  } catch (error) {
    complain(`${type}: ${error}`);
  }
}
const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
if (total === 0) complain("no messages");
console.log(`rosmsg: ${total} messages of ${counts.size} types, ${problems} problems`);
process.exit(problems === 0 ? 0 : 1);
