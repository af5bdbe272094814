// Shows the document of the service that this page came from.
SwaggerUIBundle({
  dom_id: "#swagger-ui",
  url: "/openapi.json",
  deepLinking: true,
  docExpansion: "none",
  // Others would be asked whether the document is valid.
  validatorUrl: null,
});
