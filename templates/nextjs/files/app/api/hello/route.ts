export async function GET() {
  return Response.json({ message: `Hello from the server, at ${new Date().toLocaleTimeString("en")}` });
}
