const { OpenAI } = require('openai');
const { main, tools, use } = require('./task.cjs');

const declared = tools.map(({ name, description, schema }) => (
  { type: 'function', function: { name, description, parameters: schema } }));

main(async (prompt, streamed) => {
  const client = new OpenAI({ maxRetries: 0 });
  const messages = [{ role: 'user', content: prompt }];
  for (;;) {
    const asked = { model: 'm', messages, tools: declared };
    const answer = streamed ? await client.chat.completions.stream(asked).finalChatCompletion()
      : await client.chat.completions.create(asked);
    const { message } = answer.choices[0];
    if (!message.tool_calls?.length) return message.content;
    messages.push(message);
    for (const call of message.tool_calls)
      messages.push({ role: 'tool', tool_call_id: call.id,
                      content: use(call.function.name, JSON.parse(call.function.arguments)) });
  }
});
