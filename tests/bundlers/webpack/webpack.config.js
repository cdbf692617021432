export default { entry: './main.js', output: { clean: true }, performance: false, devServer: { static: '.' } };
