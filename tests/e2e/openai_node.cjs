// One call of the official Node SDK: node openai_node.cjs BASE_URL CASE RETRIES
// Prints one JSON object: what its user got, or the class of the error that was thrown.
const OpenAI = require('openai');

async function main(baseURL, what, retries) {
  const client = new OpenAI({ baseURL, apiKey: 'any', maxRetries: Number(retries), timeout: 10000 });
  const messages = [{ role: 'user', content: 'hello' }];
  const seen = { text: '', calls: [] };
  try {
    if (what === 'models') {
      seen.models = (await client.models.list()).data.map((m) => m.id);
    } else if (what === 'chat') {
      const r = await client.chat.completions.create({ model: 'm', messages });
      seen.text = r.choices[0].message.content;
      seen.calls = r.choices[0].message.tool_calls ?? [];
      seen.usage = r.usage;
    } else if (what === 'stream') {
      const stream = await client.chat.completions.create(
        { model: 'm', messages, stream: true }, { headers: { 'x-holdfast-midstream': 'error' } });
      for await (const chunk of stream) {
        const delta = chunk.choices[0]?.delta ?? {};
        seen.text += delta.content ?? '';
        for (const c of delta.tool_calls ?? []) {
          seen.calls[c.index] ??= { id: c.id, name: c.function.name, arguments: '' };
          seen.calls[c.index].arguments += c.function.arguments ?? '';
        }
        if (chunk.usage) seen.usage = chunk.usage;
      }
    } else if (what === 'helper') {
      seen.text = await client.chat.completions.stream({ model: 'm', messages }).finalContent();
    } else {
      throw new Error(`unknown case ${what}`);
    }
  } catch (e) {
    seen.error = { class: e.constructor.name, api: e instanceof OpenAI.APIError,
                   status: e.status, message: e.message };
  }
  console.log(JSON.stringify(seen));
}

main(...process.argv.slice(2));
