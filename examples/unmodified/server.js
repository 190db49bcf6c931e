// Says who asked, on every address of both families.
const http = require("node:http");

http
  .createServer((request, response) => {
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ from: "node", path: request.url }) + "\n");
  })
  .listen(3000, "::", () => console.log("listening on [::]:3000"));
