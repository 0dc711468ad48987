// The page fills in each parameter's example, and would send all of them: a cursor of
// some other list, one Idempotency-Key for every POST. So optional parameters have none
// here; what is required keeps its own, as request bodies do.
const withoutOptionalExamples = (contract) => {
  const resolved = (part) =>
    part?.$ref ? resolved(part.$ref.split("/").slice(1).reduce((at, name) => at[name], contract)) : part;
  const bare = ({ example, examples, ...rest }) => rest;
  const shown = (parameter) =>
    parameter.required ? parameter : { ...bare(parameter), schema: bare(resolved(parameter.schema)) };
  for (const path of Object.values(contract.paths)) {
    for (const part of [path, ...Object.values(path)]) {
      if (part.parameters) {
        part.parameters = part.parameters.map(resolved).map(shown);
      }
    }
  }
  return contract;
};

// Shows this server's contract. validatorUrl is null so that nothing is sent to
// any other host.
SwaggerUIBundle({
  url: "/openapi.yaml",
  dom_id: "#docs",
  presets: [SwaggerUIBundle.presets.apis],
  plugins: [
    {
      statePlugins: {
        spec: {
          wrapActions: {
            updateJsonSpec: (update) => (contract) => update(withoutOptionalExamples(contract)),
          },
        },
      },
    },
  ],
  layout: "BaseLayout",
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  validatorUrl: null,
});
