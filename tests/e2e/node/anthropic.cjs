const { Anthropic } = require('@anthropic-ai/sdk');
const { main, tools, use } = require('./task.cjs');

const declared = tools.map(({ name, description, schema }) => (
  { name, description, input_schema: schema }));

main(async (prompt, streamed, seen) => {
  const client = new Anthropic({ maxRetries: 0 });
  const messages = [{ role: 'user', content: prompt }];
  seen.tokens = (await client.messages.countTokens({ model: 'm', messages })).input_tokens;
  for (;;) {
    const asked = { model: 'm', max_tokens: 4000, messages, tools: declared,
                    thinking: { type: 'enabled', budget_tokens: 1024 } };
    const answer = streamed ? await client.messages.stream(asked).finalMessage()
      : await client.messages.create(asked);
    if (answer.stop_reason !== 'tool_use') return answer.content.at(-1).text;
    messages.push({ role: 'assistant', content: answer.content });
    messages.push({ role: 'user', content: answer.content.filter((b) => b.type === 'tool_use').map(
      (b) => ({ type: 'tool_result', tool_use_id: b.id, content: use(b.name, b.input) })) });
  }
});
