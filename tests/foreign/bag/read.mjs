// SPDX-License-Identifier: Apache-2.0
// node read.mjs FILE: what the readers of @mcap/core find in it, as JSON: by the index and as a stream.
import { readFile } from "node:fs/promises";
import { McapIndexedReader, McapStreamReader } from "@mcap/core";
import { loadDecompressHandlers } from "@mcap/support";

const bytes = new Uint8Array(await readFile(process.argv[2]));
const decompressHandlers = await loadDecompressHandlers();
const readable = {
  size: async () => BigInt(bytes.length),
  read: async (offset, length) => bytes.slice(Number(offset), Number(offset + length)),
};

async function indexed() {
  const reader = await McapIndexedReader.Initialize({ readable, decompressHandlers });
  const found = { topics: {}, ordered: true, bad: 0, metadata: {}, attachments: {} };
  let last = 0n;
  for await (const message of reader.readMessages()) {
    const channel = reader.channelsById.get(message.channelId);
    found.topics[channel.topic] = (found.topics[channel.topic] ?? 0) + 1;
    found.ordered &&= message.logTime >= last;
    last = message.logTime;
    if (channel.messageEncoding === "json") {
      const value = JSON.parse(new TextDecoder().decode(message.data));
      if (value.number !== undefined && value.number !== message.sequence) found.bad += 1;
      if (!reader.schemasById.has(channel.schemaId)) found.bad += 1;
    }
  }
  for await (const record of reader.readMetadata()) found.metadata[record.name] = Object.fromEntries(record.metadata);
  for await (const record of reader.readAttachments()) found.attachments[record.name] = new TextDecoder().decode(record.data);
  found.profile = reader.header.profile;
  found.messages = Number(reader.statistics.messageCount);
  found.chunks = reader.chunkIndexes.length;
  return found;
}

function streamed() {
  const reader = new McapStreamReader({ decompressHandlers, validateCrcs: true });
  reader.append(bytes);
  const found = { messages: 0, error: null };
  try {
    for (let record; (record = reader.nextRecord()); ) if (record.type === "Message") found.messages += 1;
  } catch (error) {
    found.error = error.message;
  }
  return found;
}

let byIndex;
try {
  byIndex = await indexed();
} catch (error) {
  byIndex = { error: error.message };
}
console.log(JSON.stringify({ indexed: byIndex, streamed: streamed() }));
