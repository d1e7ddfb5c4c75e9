// The task of faultd's model, for SDKs: two tools that keep notes in memory, and a main that asks for
// the task twice, whole and streamed. Prints one JSON object: what the users of the SDK got.
const notes = new Map();
const text = { type: 'string' };

exports.tools = [
  { name: 'write_file', description: 'Writes a file.', run: ({ path, content }) => {
      notes.set(path, content);
      return 'written';
    },
    schema: { type: 'object', properties: { path: text, content: text },
              required: ['path', 'content'], additionalProperties: false } },
  { name: 'bash', description: 'Runs a command.',
    run: ({ command }) => [...notes].find(([path]) => command.includes(path))[1],
    schema: { type: 'object', properties: { command: text }, required: ['command'],
              additionalProperties: false } },
];

exports.use = (name, args) => exports.tools.find((t) => t.name === name).run(args);

// The value of the code that README tells the users of an SDK to write.
exports.evaluate = (names) => new Function(...Object.keys(names), `return ${process.argv[2]}`)(
  ...Object.values(names));

// `act` does the task with an SDK: act(prompt, streamed, seen) returns the last words.
exports.main = async (act) => {
  const prompt = process.argv[3];
  const seen = {};
  try {
    seen.whole = await act(prompt, false, seen);
    notes.clear();
    seen.streamed = await act(prompt, true, seen);
  } catch (e) {
    seen.error = `${e.stack} ${JSON.stringify(e.cause ?? {})}`;
  }
  console.log(JSON.stringify(seen));
};
