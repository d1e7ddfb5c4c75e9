const { createAnthropic } = require('@ai-sdk/anthropic');
const { createGoogleGenerativeAI } = require('@ai-sdk/google');
const { createOpenAI } = require('@ai-sdk/openai');
const { createOpenAICompatible } = require('@ai-sdk/openai-compatible');
const { generateText, jsonSchema, stepCountIs, streamText, tool } = require('ai');
const { evaluate, main, tools } = require('./task.cjs');

const declared = Object.fromEntries(tools.map(({ name, description, schema, run }) => (
  [name, tool({ description, inputSchema: jsonSchema(schema), execute: run })])));

main(async (prompt, streamed) => {
  const provider = evaluate(
    { createAnthropic, createGoogleGenerativeAI, createOpenAI, createOpenAICompatible });
  const asked = { model: provider('gpt-5'), prompt, tools: declared, stopWhen: stepCountIs(5),
                  maxRetries: 0, onError: () => {} };
  if (!streamed) return (await generateText(asked)).text;
  const result = streamText(asked);
  let text = '';
  for await (const part of result.fullStream) {
    if (part.type === 'error') throw part.error;
    if (part.type === 'start-step') text = ''; // what it said before it used a tool
    if (part.type === 'text-delta') text += part.text;
  }
  return text;
});
