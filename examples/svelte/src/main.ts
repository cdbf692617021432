import { mount } from 'svelte';
import App from './App.svelte';
import './chat.css';

mount(App, { target: document.querySelector('#app')! });
