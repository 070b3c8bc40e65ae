export default { input: "../openapi.json", output: { path: "src/hey", importFileExtension: ".js" } };
