const { OpenAI } = require('openai');
const { main, tools, use } = require('./task.cjs');

const declared = tools.map(({ name, description, schema }) => (
  { type: 'function', name, description, parameters: schema, strict: true }));

main(async (prompt, streamed) => {
  const client = new OpenAI({ maxRetries: 0 });
  const input = [{ role: 'user', content: prompt }];
  for (;;) {
    const asked = { model: 'm', input, tools: declared, store: false,
                    include: ['reasoning.encrypted_content'] };
    const answer = streamed ? await client.responses.stream(asked).finalResponse()
      : await client.responses.create(asked);
    const calls = answer.output.filter((item) => item.type === 'function_call');
    if (!calls.length) return answer.output_text;
    input.push(...answer.output);
    for (const call of calls)
      input.push({ type: 'function_call_output', call_id: call.call_id,
                   output: use(call.name, JSON.parse(call.arguments)) });
  }
});
