const { ChatAnthropic } = require('@langchain/anthropic');
const { tool } = require('@langchain/core/tools');
const { HumanMessage } = require('@langchain/core/messages');
const { ChatOpenAI } = require('@langchain/openai');
const { evaluate, main, tools } = require('./task.cjs');

const declared = tools.map(({ name, description, schema, run }) => (
  tool(run, { name, description, schema })));

main(async (prompt, streamed) => {
  const model = evaluate({ ChatAnthropic, ChatOpenAI }).bindTools(declared);
  const messages = [new HumanMessage(prompt)];
  for (;;) {
    let answer;
    if (streamed)
      for await (const chunk of await model.stream(messages))
        answer = answer ? answer.concat(chunk) : chunk;
    else
      answer = await model.invoke(messages);
    if (!answer.tool_calls.length) return answer.text;
    messages.push(answer);
    for (const call of answer.tool_calls)
      messages.push(await declared.find((t) => t.name === call.name).invoke(call));
  }
});
