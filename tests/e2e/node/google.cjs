const { GoogleGenAI } = require('@google/genai');
const { main, tools, use } = require('./task.cjs');

const declared = tools.map(({ name, description, schema }) => (
  { name, description, parametersJsonSchema: schema }));

main(async (prompt, streamed) => {
  const ai = new GoogleGenAI({});
  const chat = ai.chats.create({ model: 'm', config: { tools: [{ functionDeclarations: declared }] } });
  let message = prompt;
  for (;;) {
    const answers = streamed ? await chat.sendMessageStream({ message })
      : [await chat.sendMessage({ message })];
    const calls = [];
    let text = '';
    for await (const answer of answers) {
      calls.push(...(answer.functionCalls ?? []));
      text += calls.length ? '' : answer.text ?? '';
    }
    if (!calls.length) return text;
    message = calls.map(({ id, name, args }) => (
      { functionResponse: { id, name, response: { output: use(name, args) } } }));
  }
});
